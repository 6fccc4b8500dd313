"""What holds for every input, searched by hypothesis; kernels against their slow references."""
