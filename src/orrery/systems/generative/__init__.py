"""Systems that make new data: diffusion and its samplers."""
