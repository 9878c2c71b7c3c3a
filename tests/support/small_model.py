"""Shape of a model that decodes in milliseconds, for tests of decoding."""

from anytalk.model.layout import Layout

LAYOUT = Layout(text_size=40, codebook_size=12, layers=7, text_specials=8, audio_specials=6)
FEATURE_WIDTH = 10
SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
