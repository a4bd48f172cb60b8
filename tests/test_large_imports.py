"""The garbage collector while PyTorch is imported, and afterwards."""

from conftest import run_python


def test_the_collector_is_off_meanwhile_and_passes_over_what_was_imported():
    code = """if True:
    import gc
    from rdrop_cli.large_imports import in_own_process, large_imports
    in_own_process()
    with large_imports():
        print(gc.isenabled())
        import torch
    imported = gc.get_freeze_count()
    print(gc.isenabled(), imported > 50_000)
    with large_imports():
        print(gc.isenabled())
        later = [[] for _ in range(1000)]
    print(gc.get_freeze_count() == imported)
    """
    assert run_python(code).stdout.split() == ["False", "True", "True", "True", "True"]


def test_it_is_on_again_after_an_error_and_stays_off_where_it_was():
    code = """if True:
    import gc
    from rdrop_cli.large_imports import in_own_process, large_imports
    in_own_process()
    try:
        with large_imports():
            raise ImportError
    except ImportError:
        print(gc.isenabled(), gc.get_freeze_count())
    gc.disable()
    with large_imports():
        pass
    print(gc.isenabled())
    """
    assert run_python(code).stdout.split() == ["True", "0", "False"]


def test_a_program_that_imports_rdrop_keeps_its_collector():
    code = """if True:
    import gc
    from rdrop_cli.large_imports import large_imports
    with large_imports():
        print(gc.isenabled())
        import torch
    print(gc.get_freeze_count())
    """
    assert run_python(code).stdout.split() == ["True", "0"]
