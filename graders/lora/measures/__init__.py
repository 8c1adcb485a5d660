"""What the graders measure: layers, adapters, losses, style, composition."""
