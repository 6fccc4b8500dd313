"""The emulated quantum channel: source, fibre, eavesdropper, detectors and tagger, drawn sparsely."""
