"""``worked``: worked examples of lectures. ``comparison``: one network trained with each activation."""
