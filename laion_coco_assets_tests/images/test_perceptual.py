"""Pictures that look the same have nearly the same perceptual hash; others do not."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from laion_coco_assets.assets import fingerprints
from laion_coco_assets.contract.profile_files import load_profile
from laion_coco_assets.contract.stage_names import StageName
from laion_coco_assets.fetching.fetcher import FetchDeployment, Fetcher
from laion_coco_assets.images.decode import decode_rgb
from laion_coco_assets.images.inspection import ImageInfo, inspect
from laion_coco_assets.images.perceptual import perceptual_hash
from laion_coco_assets_tests.fetching.servers import BadServer
from laion_coco_assets_tests.images import pictures


def photo(seed: int) -> Image.Image:
    """Smooth noise: structure at every scale, as photographs have."""
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((300, 200), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_copies_differ_in_few_bits_and_other_pictures_in_many(seed: int):
    original = photo(seed)
    wanted = perceptual_hash(original)
    copies = [
        decode_rgb(pictures.encoded(original, "JPEG", quality=40)),
        decode_rgb(pictures.encoded(original, "WEBP", quality=40)),
        original.resize((150, 100)),
        original.resize((900, 600)),
    ]
    assert all(distance(perceptual_hash(copy), wanted) <= 10 for copy in copies)
    assert all(distance(perceptual_hash(photo(other)), wanted) > 14 for other in range(100, 120))


def test_it_is_sixteen_hex_digits_whatever_the_mode():
    for image in (photo(0), photo(0).convert("L"), Image.new("1", (3, 3)), Image.new("RGB", (1, 1000))):
        assert len(perceptual_hash(image)) == 16
        assert int(perceptual_hash(image), 16) >= 0


def test_the_picture_is_hashed_as_one_sees_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    limits = pictures.settings(perceptual_hash=True)
    turned = inspect(pictures.encoded(photo(1).transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif), limits)
    assert turned == ImageInfo("PNG", 300, 200, perceptual_hash(photo(1)))


def test_it_is_made_only_where_the_profile_asks_for_it():
    deployment = FetchDeployment(allow_networks=("127.0.0.0/8",), decode_workers=1)
    got = {}
    with BadServer() as server:
        for asked in (False, True):
            with Fetcher(pictures.settings(perceptual_hash=asked), deployment) as fetcher:
                (got[asked],) = fetcher.fetch([server.url("/good")])
    assert got[False].perceptual_hash is None
    assert got[True].perceptual_hash == perceptual_hash(decode_rgb(pictures.JPEG))


def test_the_setting_is_part_of_the_fetchs_fingerprint():
    profile = load_profile("laion-coco")
    assert profile.fetch.perceptual_hash is False
    hashing = profile.model_copy(update={"fetch": profile.fetch.model_copy(update={"perceptual_hash": True})})
    assert fingerprints(hashing)[StageName.FETCHED_IMAGES] != fingerprints(profile)[StageName.FETCHED_IMAGES]
