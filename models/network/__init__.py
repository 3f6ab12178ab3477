"""The network: backbones, latent layer, preprocessing, codes, runtimes."""
