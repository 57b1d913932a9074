"""The worked examples of lectures, and the comparison of activations."""
