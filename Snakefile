"""Which encoder, which sentence representation, which effective batch size?"""

import os
import sys

from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


# A config file on the command line replaces the quick study instead of being merged into it.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/parts.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/results.smk"


rule all:
    default_target: True
    input:
        rules.summary.output,
        RUN_FILES,
    message:
        "the study '{STUDY}' is complete: results/summary.md"


rule pages:
    input:
        rules.summary.output,
        rules.page.output,
        expand(rules.draw.output, figure=SHOWN_FIGURES),
        expand(rules.sortable.output, part=READ_PARTS),
    message:
        "everything that the report shows is there"


rule tokens:
    input:
        expand(
            rules.pretokenize.output,
            dataset=DATASET,
            model=dict.fromkeys(run.model for run in RUNS),
        ),
    message:
        "the reviews are tokenized for every model of the grid"


rule runs:
    input:
        RUN_FILES,
    message:
        "all {N_RUNS} runs are trained and tested"
