"""Layers that prepare data: sizes and random changes of images, statistics, categories, words."""
