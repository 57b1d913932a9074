"""People's data: conversion to arrays, tables from files, the bundled digits."""
