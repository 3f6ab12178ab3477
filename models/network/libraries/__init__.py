"""Backbones from timm and torchvision, and their weights from files."""
