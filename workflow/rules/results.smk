"""From runs to tables, figures and the summary."""


rule collect:
    input:
        runs=RUN_FILES,
        missing=MISSING_NOTE,
        script=script("collect.py"),
        library=library("collect.py"),
    output:
        RUNS_TABLE,
        f"{TABLES}/histories.csv",
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
        out=output_folder,
    message:
        "collect {N_RUNS} runs"
    shell:
        "python {input.script} --runs {params.runs} --out {params.out} > {log} 2>&1"


rule draw:
    input:
        table=drawn_table,
        script=script("draw.py"),
        library=library("draw.py"),
    output:
        svg=report(
            f"{FIGURES}/{{figure}}.svg",
            caption="../report/figure.rst",
            category="2 Figures",
            subcategory=figure_theme,
            labels=figure_labels("picture"),
        ),
        html=report(
            f"{FIGURES}/{{figure}}.html",
            caption="../report/figure.rst",
            category="2 Figures",
            subcategory=figure_theme,
            labels=figure_labels("interactive"),
        ),
    log:
        "results/logs/draw_{figure}.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "draw {wildcards.figure}"
    shell:
        "python {input.script} {wildcards.figure} --table {input.table} "
        "--svg {output.svg} --html {output.html} > {log} 2>&1"


rule summary:
    input:
        tables=[f"{TABLES}/{name}.csv" for name in SHOWN_TABLES],
        figures=[f"{FIGURES}/{name}.svg" for name in SHOWN_FIGURES],
        interactive=[f"{FIGURES}/{name}.html" for name in SHOWN_FIGURES],
        baselines=BASELINE_FILES,
        trained=expand("{folder}/train.json", folder=RUN_FOLDERS),
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
        baselines=flags({"baselines": BASELINE_FOLDERS}),
        max_length=config["max_length"],
    message:
        "write the summary"
    shell:
        "python {input.script} --study {params.study} --tables {input.tables} "
        "--figures {input.figures} {params.baselines} "
        "--trained {input.trained} --reviews {input.reviews} --splits {input.splits} "
        "--max-length {params.max_length} {params.settings} "
        "--out {output} > {log} 2>&1"


rule page:
    input:
        page=rules.summary.output,
        figures=[f"{FIGURES}/{name}.svg" for name in SHOWN_FIGURES],
        script=script("page.py"),
        library=library("page.py"),
    output:
        report(
            "results/pages/summary.html",
            caption="../report/summary.rst",
            category="1 Summary",
            labels={"page": "Summary of the study"},
        ),
    log:
        "results/logs/page.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "turn the summary into a page of its own"
    shell:
        "python {input.script} --page {input.page} --out {output} > {log} 2>&1"


rule sortable:
    input:
        tables=read_tables,
        script=script("sortable.py"),
        library=library("sortable.py"),
    output:
        report(
            "results/pages/{part}.html",
            caption="../report/tables.rst",
            category="3 Tables",
            labels={"tables": "{part}"},
        ),
    log:
        "results/logs/sortable_{part}.log",
    conda:
        "../../envs/results.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    message:
        "turn the tables of {wildcards.part} into a page"
    shell:
        "python {input.script} --tables {input.tables} --out {output} > {log} 2>&1"
