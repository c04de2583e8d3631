"""From tables to what people read; it takes seconds, so that it waits in no queue of a cluster."""


rule draw:
    input:
        tables=[table(name) for figure in SHOWN_FIGURES for name in figure.tables],
    output:
        pictures=expand(
            f"{FIGURES}/{{figure}}.svg", figure=[figure.name for figure in SHOWN_FIGURES]
        ),
        pages=[
            report(
                f"{FIGURES}/{figure.name}.html",
                category="2 Figures",
                subcategory=figure.theme,
                labels={"figure": figure.title},
            )
            for figure in SHOWN_FIGURES
        ],
    log:
        f"{LOGS}/draw.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("draw"),
        code=code("draw"),
        noun=config["dataset"]["noun"],
        metric=flags({"metric": ANALYSIS["metric"]}),
        out=output_folder,
    message:
        "draw the figures; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --tables {input.tables:q} --noun {params.noun:q} {params.metric} --out {params.out:q}"


rule summary:
    input:
        tables=map(table, catalog.tables_in(PARTS)),
        figures=rules.draw.output.pictures,
        interactive=rules.draw.output.pages,
        runs=files_of_runs("train.json"),
        baselines=BASELINES,
        reviews=expand(rules.download.output.counts, dataset=DATASET),
        splits=expand(rules.split.output.counts, dataset=DATASET),
        tokens=expand(rules.pretokenize.output.counts, dataset=DATASET, model=MODELS),
    output:
        page="results/summary.md",
        answer="results/pages/answer.html",
        latex=expand(
            f"{TABLES}/{{name}}.tex", name=["results", *["findings"] * ANALYSIS["statistics"]]
        ),
        html=report(
            "results/pages/summary.html",
            category="1 Summary",
            labels={"page": "Summary of the study"},
        ),
        tables=[
            report(
                f"results/pages/{part}.html",
                caption="../report/tables.rst",
                category="3 Tables",
                labels={"tables": part},
            )
            for part in PARTS
            if catalog.tables_to_read(part)
        ],
    log:
        f"{LOGS}/summary.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("summary"),
        code=code("summary"),
        study=STUDY,
        noun=config["dataset"]["noun"],
        metric=flags({"metric": ANALYSIS["metric"]}),
        runs=run_folders,
        baselines=baseline_folders,
        out=output_folder,
    message:
        "write the summary; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --study {params.study} --tables {input.tables:q} --figures {input.figures:q} "
        "--runs {params.runs} {params.baselines} --reviews {input.reviews:q} --splits {input.splits:q} "
        "--tokens {input.tokens:q} --noun {params.noun:q} {params.metric} --out {params.out:q}"
