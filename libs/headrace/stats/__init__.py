"""Profiles, sequential tests, drift detectors, the retrain guard and the gates. Pure: numpy and arithmetic."""
