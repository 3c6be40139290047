"""Learners, predictors and their artifacts; one adapter module a foreign library, imported only when used."""
