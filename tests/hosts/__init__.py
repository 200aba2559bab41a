"""What every host must do: written once, run on each kind of host."""
