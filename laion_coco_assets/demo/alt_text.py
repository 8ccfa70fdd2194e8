"""Writes alt texts like those on the web: file names, shop titles, other languages, keywords, nothing at all, some good ones."""

from random import Random

from laion_coco_assets.demo.scenes import Scene, true_caption

WORDS: dict[str, dict[str, str]] = {
    "de": {
        "cat": "Katze",
        "tree": "Baum",
        "house": "Haus",
        "car": "Auto",
        "ball": "Ball",
        "star": "Stern",
        "boat": "Boot",
        "cup": "Tasse",
        "fish": "Fisch",
        "flower": "Blume",
        "umbrella": "Regenschirm",
        "kite": "Drachen",
        "": "{} kaufen | große Auswahl & schneller Versand",
    },
    "fr": {
        "cat": "chat",
        "tree": "arbre",
        "house": "maison",
        "car": "voiture",
        "ball": "ballon",
        "star": "étoile",
        "boat": "bateau",
        "cup": "tasse",
        "fish": "poisson",
        "flower": "fleur",
        "umbrella": "parapluie",
        "kite": "cerf-volant",
        "": "Photo de {} : idées déco et cadeaux",
    },
    "es": {
        "cat": "gato",
        "tree": "árbol",
        "house": "casa",
        "car": "coche",
        "ball": "pelota",
        "star": "estrella",
        "boat": "barco",
        "cup": "taza",
        "fish": "pez",
        "flower": "flor",
        "umbrella": "paraguas",
        "kite": "cometa",
        "": "Dibujo de {} para imprimir gratis",
    },
    "ja": {
        "cat": "猫",
        "tree": "木",
        "house": "家",
        "car": "車",
        "ball": "ボール",
        "star": "星",
        "boat": "船",
        "cup": "カップ",
        "fish": "魚",
        "flower": "花",
        "umbrella": "傘",
        "kite": "凧",
        "": "{}のイラスト 無料素材【かわいい】",
    },
}
SPAM = ("best", "cheap", "wallpaper", "HD", "free download", "2022", "vector", "clip art", "stock photo", "gift idea")
SHOPS = ("PaperHouse", "Kidsdecor24", "TinyPrints", "ArtBay", "Wall & Co.")


def _file_name(scene: Scene, rng: Random) -> str:
    return rng.choice(
        (
            f"IMG_{rng.randint(1000, 9999)}.JPG",
            f"DSC{rng.randint(10000, 99999)}",
            f"{scene.groups[0].kind}_{rng.randint(1, 40):02d}_final2.png",
            f"Screenshot 20{rng.randint(15, 22)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}",
            "image",
            "thumbnail",
        )
    )


def _shop_title(scene: Scene, rng: Random) -> str:
    group = scene.groups[0]
    price = f"{rng.choice('$€£')}{rng.randint(3, 59)}.{rng.choice(('99', '95', '50'))}"
    name = f"{group.colour.title()} {group.kind.title()}"
    return rng.choice(
        (
            f"{name} Wall Art Print, {rng.randint(20, 60)}x{rng.randint(20, 60)} cm - {price} | {rng.choice(SHOPS)}",
            f"{name} Sticker (Pack of {rng.randint(5, 50)}) {price} FREE SHIPPING",
            f"Buy {name} Greeting Card online at {rng.choice(SHOPS)} - SKU {rng.randint(10000, 99999)}",
        )
    )


def _other_language(scene: Scene, rng: Random) -> str:
    words = WORDS[rng.choice(sorted(WORDS))]
    return words[""].format(words[scene.groups[0].kind])


def _keywords(scene: Scene, rng: Random) -> str:
    words = [word for group in scene.groups for word in (group.kind, group.colour)]
    words += [*rng.sample(SPAM, 5), scene.background]
    rng.shuffle(words)
    return ", ".join(words)


def _half_true(scene: Scene, rng: Random) -> str:
    group = scene.groups[0]
    return rng.choice((f"Cute {group.kind} illustration", f"{group.colour} {group.kind}s", f"My new {group.kind}!"))


def _good(scene: Scene, rng: Random) -> str:
    caption = true_caption(scene, rng)
    return caption if rng.random() < 0.5 else f"{caption[0].upper()}{caption[1:]}."


def alt_text(scene: Scene, rng: Random) -> str:
    """One alt text for `scene`. About one in nine is completely true."""
    if rng.random() < 0.05:
        return ""
    makers = (_file_name, _shop_title, _other_language, _keywords, _half_true, _good)
    return rng.choices(makers, weights=(18, 24, 18, 14, 14, 12))[0](scene, rng)
