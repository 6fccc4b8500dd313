"""What ``qkd bench`` measures: a module for each group of stages, and the record that all of them fill."""
