"""Error rates and pace: the same words in another spelling are no error, wrong words are, in every script."""

# ruff: noqa: RUF001  signs of many scripts are what is tested

import pytest

from anytalk.synth.judge.error_rate import compare, word_error_rate
from anytalk.synth.judge.pace import spoken_words

SAME = [
    ("en", "The U.S. team won.", "The US team won."),
    ("en", "The N.A.S.A. team won.", "The NASA team won."),
    ("en", "The AI is new.", "The A.I. is new."),
    ("en", "C O two is a gas.", "CO2 is a gas."),
    ("en", "Okay, let us begin.", "OK, let's begin."),
    ("en", "It took a hundred days.", "It took one hundred days."),
    ("en", "Okay, the e-mail is here.", "Okay, the email is here."),
    ("en", "A well-known ice cream.", "A well known icecream."),
    ("en", "I can't, I cannot.", "I can not, I can't."),
    ("en", "We eat at half past seven.", "We eat at 7:30."),
    ("en", "It is a quarter past ten.", "It is 10:15."),
    ("en", "It is a quarter to ten.", "It is 9:45."),
    ("en", "It is twenty past nine.", "It's 9:20."),
    ("en", "It is seven o'clock.", "It's 7:00."),
    ("en", "I am gonna go.", "I'm going to go."),
    ("en", "Half a million came.", "500,000 came."),
    ("en", "Two and a half cups.", "2.5 cups."),
    ("en", "One and a half million tons.", "1.5 million tons."),
    ("en", "The colour is grey.", "The color is gray."),
    ("en", "Call five five five, one two three four.", "Call 555-1234."),
    ("en", "It was nineteen eighty-four.", "It was 1984."),
    ("en", "It costs three dollars and fifty cents.", "It costs $3.50."),
    ("en", "May twenty-first.", "May 21."),
    ("en", "Nine a.m.", "9 AM"),
    ("en", "B.", "Be."),
    ("en", "Two.", "Too."),
    ("en", "Robin.", "Robyn."),
    ("en", "No.", "Know."),
    ("de", "Die Straße ist lang.", "Die Strasse ist lang."),
    ("de", "Der Fluss ist tief.", "Der Fluß ist tief."),
    ("de", "Das ist okay.", "Das ist OK."),
    ("de", "Hundert Leute kamen.", "100 Leute kamen."),
    ("de", "Wir essen um halb acht.", "Wir essen um 7.30 Uhr."),
    ("de", "Es ist Viertel vor neun.", "Es ist 8:45 Uhr."),
    ("de", "Das kostet drei Euro und fünfzig Cent.", "Das kostet 3,50 €."),
    ("de", "Anderthalb Liter.", "1,5 Liter."),
    ("de", "Am dritten Mai.", "Am 3. Mai."),
    ("de", "Zum Beispiel drei Mal.", "Z. B. dreimal."),
    ("zh", "我有三个苹果。", "我有3个苹果。"),
    ("zh-CN", "今天天气很好，我们去公园吧。", "今天天气很好 我们去公园吧"),
    ("zh-TW", "我們去公園吧。", "我们去公园吧。"),
    ("cmn", "二零二四年有两个。", "2024年有二个。"),
    ("ja", "三百円です。", "300円です。"),
    ("ja", "二千二十四年。", "2024年。"),
    ("th", "วันนี้อากาศดีมาก", "วันนี้ อากาศดีมาก"),
    ("my", "မင်္ဂလာပါ။", "မင်္ဂလာပါ"),
    ("ko", "오늘 날씨가 좋다.", "오늘날씨가 좋다."),
]


@pytest.mark.parametrize(("language", "text", "transcript"), SAME)
def test_the_same_words_in_another_spelling_are_no_error(language, text, transcript):
    found = compare(text, transcript, language)
    assert (found.wer, found.cer, found.missing_end_words) == (0, 0, 0)


@pytest.mark.parametrize(
    ("language", "text", "transcript", "wer"),
    [
        ("en", "I have fifteen cats.", "I have fifty cats.", 0.25),
        ("en", "Yes.", "Yet.", 1.0),
        ("en", "It is half past seven.", "It is half past six.", 0.3333),
        ("en", "Turn left here.", "Turn right here.", 0.3333),
        ("de", "Ich habe fünfzehn Katzen.", "Ich habe fünfzig Katzen.", 0.25),
        ("zh", "今天天气很好，我们去公园吧。", "今天天气很好，我们去公园。", 0.0833),
        ("zh", "我有三个苹果。", "我有四个苹果。", 0.1667),
        ("ja", "今日は天気がいいので散歩します。", "今日は天気がいいので散歩しました。", 0.125),
        ("zh", "你好", "", 1.0),
    ],
)
def test_wrong_words_are_errors(language, text, transcript, wer):
    assert word_error_rate(text, transcript, language) == wer


def test_a_perfect_row_of_any_length_has_no_errors_and_one_wrong_character_is_one():
    for language, sentence in (("zh", "今天天气很好，"), ("ja", "今日は天気がいい。"), ("th", "ฉันชอบกินข้าว ")):
        text = sentence * 40
        assert word_error_rate(text, text, language) == 0
        assert 0 < word_error_rate(text, text[:-3] + "犬", language) < 0.02


@pytest.mark.parametrize(
    ("text", "transcript", "missing"),
    [
        ("I go to the park today.", "I go to the park.", 1),
        ("I go to the park today.", "I go to the.", 2),
        ("I go to the park today.", "I go to the park tonight.", 0),
        ("I go to the park today.", "I go the park today.", 0),
        ("I go to the park today.", "I go to the park today and.", 0),
        ("Send an e-mail.", "Send an email.", 0),
    ],
)
def test_words_that_are_missing_at_the_end_are_counted(text, transcript, missing):
    assert compare(text, transcript, "en").missing_end_words == missing


def test_characters_at_the_end_count_as_half_a_word():
    assert compare("我们去公园吧。", "我们去公园。", "zh").missing_end_words == 0.5


@pytest.mark.parametrize(
    ("language", "text", "seconds"),
    [  # Spoken without a fault in so many seconds.
        ("en", "Call 555-867-5309.", 5.0),
        ("en", "It's 1,234,567,890.", 6.5),
        ("en", "149,597,870 km.", 6.5),
        ("de", "149.597.870 km.", 6.5),
        ("de", "Eine Geschwindigkeitsbegrenzung.", 2.6),
        ("en", "Absolutely.", 1.5),
        ("en", "No.", 0.3),
        ("zh", "今天天气很好，我们去公园吧。", 2.9),
        ("ja", "今日は天気がいいので、公園に行きましょう。", 3.4),
        ("th", "ฉันชอบกินข้าวกับปลาย่าง", 2.0),
        ("zh", "我喜欢 YouTube。", 1.4),
    ],
)
def test_pace_counts_what_is_said(language, text, seconds):
    assert 0.12 < seconds / spoken_words(text, language) < 1.2


def test_a_voice_that_dawdles_is_slow_in_every_script():
    assert 12 / spoken_words("我们去公园吧。", "zh") > 1.2
    assert 12 / spoken_words("Turn left at the corner.", "en") > 1.2
    assert 0.3 / spoken_words("今天天气很好，我们去公园吧。", "zh") < 0.12
