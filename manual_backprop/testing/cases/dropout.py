"""Rows of dropout."""

from ..case import normal
from ._make import function, layer

X = (normal(4, 6),)
LINE, LINES = (normal(5, 3),), (normal(2, 5, 3),)
IMAGES = (normal(2, 5, 2, 2),)
VOLUME, VOLUMES = (normal(5, 2, 1, 2),), (normal(2, 5, 2, 1, 2),)
LARGER = {"larger": (normal(32, 16),)}

CASES = [
    layer("Dropout", inputs=X, row=LARGER),
    layer("Dropout", 0.1, inputs=X),
    layer("Dropout", 0.0, inputs=X, tag="identity"),
    layer("Dropout", 1.0, inputs=X),
    layer("Dropout", inputs=X, train=False),
    layer("Dropout", 0.3, inputs=X, inplace=True),
    layer("Dropout", 1.0, inputs=X, inplace=True),
    layer("Dropout", inputs=X, inplace=True, train=False),
    layer("Dropout", inputs=(normal(),), tag="scalar"),
    layer("Dropout", inputs=IMAGES, tag="4d"),
    layer("Dropout1d", inputs=LINES),
    layer("Dropout1d", inputs=LINE, tag="unbatched"),
    layer("Dropout1d", 0.3, inputs=LINES, inplace=True),
    layer("Dropout1d", 0.3, inputs=LINE, inplace=True, tag="unbatched"),
    layer("Dropout1d", inputs=LINES, train=False),
    layer("Dropout2d", inputs=IMAGES),
    layer("Dropout2d", 1.0, inputs=IMAGES),
    layer("Dropout2d", 0.3, inputs=IMAGES, inplace=True),
    layer("Dropout3d", inputs=VOLUMES),
    layer("Dropout3d", inputs=VOLUME, tag="unbatched"),
    layer("Dropout3d", 0.3, inputs=VOLUMES, inplace=True),
    layer("AlphaDropout", inputs=X, row=LARGER),
    layer("AlphaDropout", 0.2, inputs=X, inplace=True),
    layer("AlphaDropout", 1.0, inputs=X),
    layer("AlphaDropout", inputs=X, train=False),
    layer("FeatureAlphaDropout", inputs=LINES),
    layer("FeatureAlphaDropout", 0.2, inputs=IMAGES),
    function("dropout", X, p=0.3),
    function("dropout", X, p=0.3, inplace=True),
    function("dropout", X, training=False),
    function("dropout1d", LINES, p=0.3),
    function("dropout2d", IMAGES, p=0.3),
    function("dropout3d", VOLUMES, p=0.3),
    function("alpha_dropout", X, p=0.3, training=True),
    function("alpha_dropout", X, p=0.3, training=True, inplace=True),
    function("alpha_dropout", X, tag="default"),
    function("feature_alpha_dropout", LINES, p=0.3, training=True),
    function("feature_alpha_dropout", LINES, p=0.3, training=True, inplace=True),
]
