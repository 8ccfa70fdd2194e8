"""Groups of `laion-coco`'s commands, and what all commands share."""
