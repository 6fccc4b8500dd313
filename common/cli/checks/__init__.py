"""What ``qkd doctor`` checks: the environment qkdlink is installed in, and the machine below it."""
