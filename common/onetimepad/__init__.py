"""The one-time pad for files, messages and pictures, with key from a file that each end holds alike."""
