"""From runs to tables, figures and the summary."""


rule collect:
    input:
        runs=RUN_FILES,
        missing=MISSING_NOTE,
        script=script("collect.py"),
        library=library("collect.py"),
    output:
        RUNS_TABLE,
    log:
        "results/logs/collect.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        runs=RUN_FOLDERS,
    message:
        "collect {N_RUNS} runs"
    shell:
        "python {input.script} --runs {params.runs} --out {output} > {log} 2>&1"


rule learning_curves:
    input:
        histories=expand("{folder}/history.csv", folder=RUN_FOLDERS),
        script=script("learning_curves.py"),
        library=library("learning_curves.py"),
    output:
        "results/figures/learning_curves.svg",
    log:
        "results/logs/learning_curves.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        runs=RUN_FOLDERS,
    message:
        "draw the learning curves"
    shell:
        "python {input.script} --runs {params.runs} --out {output} > {log} 2>&1"


rule summary:
    input:
        runs=rules.collect.output,
        trained=expand("{folder}/train.json", folder=RUN_FOLDERS),
        curves=rules.learning_curves.output,
        reviews=expand(rules.download.output.counts, dataset=DATASET),
        splits=expand(rules.split.output.counts, dataset=DATASET),
        script=script("summarize.py"),
        library=library("summarize.py"),
    output:
        "results/summary.md",
    log:
        "results/logs/summary.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study=STUDY,
        settings=settings_flags,
        max_length=config["max_length"],
    message:
        "write the summary"
    shell:
        "python {input.script} --study {params.study} --runs {input.runs} "
        "--trained {input.trained} --reviews {input.reviews} --splits {input.splits} "
        "--curves {input.curves} --max-length {params.max_length} {params.settings} "
        "--out {output} > {log} 2>&1"
