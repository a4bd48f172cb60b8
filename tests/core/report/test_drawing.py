"""Pictures of a report."""

from rdrop_cli.core.report import drawing


def test_a_class_whose_name_begins_with_an_underscore_is_in_the_legend():
    with drawing.sheet("curve") as sheet:
        for name in ("_other", "sport"):
            sheet.axes.plot([0, 1], [0, 1], label=drawing.legend_name(name))
        sheet.legend()
    assert "_other" in sheet.svg and "sport" in sheet.svg
