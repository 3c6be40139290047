"""The demo: a year of real flights through the whole loop, verified at the end."""
