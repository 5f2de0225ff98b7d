"""Small real data sets that come with the package."""
