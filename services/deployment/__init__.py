"""Deployment, a service of the control plane."""
