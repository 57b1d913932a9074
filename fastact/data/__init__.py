"""Users' data: conversion to arrays, batches, tables from files, the bundled digits."""
