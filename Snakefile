"""Which encoder, which sentence representation, which effective batch size?"""

from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/results.smk"


rule all:
    default_target: True
    input:
        rules.summary.output,
        whole_runs,
    message:
        f"the study '{STUDY}' is complete: results/summary.md"


onstart:
    try:
        ENGINE.watch()
        planning.mark_study(STUDY)
    except UserError as error:
        sys.exit(f"error: {error}")
    if ENGINE.is_here():
        forks.start({name: code_of.modules_of(name) for name in code_of.commands()})
