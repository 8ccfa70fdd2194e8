"""`python -m laion_coco_assets` is `laion-coco`."""

from laion_coco_assets.cli.main import main

if __name__ == "__main__":
    main()
