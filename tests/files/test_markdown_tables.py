from modeling_semanticmac.files.markdown_tables import format_number, markdown_table, mean_and_deviation


def test_a_table_survives_what_is_in_its_cells():
    assert markdown_table(["a", "b"], [[1, "x|y\nz"]]) == "| a | b |\n| --- | --- |\n| 1 | x\\|y z |\n"


def test_numbers_have_fixed_digits_and_nan_is_said():
    assert [format_number(v) for v in (0.5, 3, float("nan"), None, "words", True)] == [
        "0.5000",
        "3.0000",
        "undefined",
        "",
        "words",
        "True",
    ]


def test_deviation_is_that_of_a_sample():
    assert mean_and_deviation([1.0, 3.0], 2) == "2.00 +- 1.41"
    assert mean_and_deviation([1.0]) == "1.000"
