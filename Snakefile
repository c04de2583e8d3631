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


rule report_files:
    input:
        rules.summary.output,
        rules.summary_html.output,
        expand(rules.draw.output, figure=SHOWN_FIGURES),
        expand(rules.tables_html.output, part=READ_PARTS),
    message:
        "everything that the report shows is there"


rule tokens:
    input:
        expand(rules.pretokenize.output, dataset=DATASET, model=MODELS),
    message:
        "the reviews are tokenized for every model of the grid"


rule runs:
    input:
        whole_runs,
    message:
        f"all {N_RUNS} runs are trained and tested"


onstart:
    on_slurm = workflow.executor_plugin.name == "slurm"
    try:
        if on_slurm:
            slurm.check(workflow.executor_settings)
        planning.mark_study(STUDY)
    except UserError as error:
        sys.exit(f"error: {error}")
    failures.watch()
    if on_slurm:
        slurm.keep_asking()
        logger.info("why jobs wait: squeue --me --states=PENDING --format='%i %k: %r'")
    # Forks share neither a GPU nor a cluster.
    if not N_GPUS and not workflow.non_local_exec:
        forks.start(
            {
                rule.name: code_of.modules_of(rule.name)
                for rule in workflow.rules
                if rule.shellcmd
            }
        )
