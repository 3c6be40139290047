"""Training, a service of the control plane."""
