"""One file for each architecture that weights can be declared for: safetensors hold numbers, the computation is ours.

An architecture says which tensors its configuration needs, each with its shape, and computes with numpy. An artifact
names one; it never brings one along.
"""
