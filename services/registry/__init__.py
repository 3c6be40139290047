"""Registry, a service of the control plane."""
