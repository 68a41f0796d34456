"""Manifold learning: coordinates for points that lie on a curved surface in a larger space."""
