"""From tables to what people read: figures, the summary, and pages of the report.

These take seconds each, so that they wait in no queue of a cluster.
"""


rule vega:
    output:
        f"{FIGURES}/vega.js",
    log:
        f"{LOGS}/vega.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("vega"),
        code=code("vega"),
    message:
        "write the library of interactive figures; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --out {output:q}"


rule draw:
    input:
        table=drawn_table,
        library=rules.vega.output,
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
        f"{LOGS}/draw_{{figure}}.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("draw"),
        code=code("draw"),
        caption=figure_caption,
    message:
        "draw {wildcards.figure}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} {wildcards.figure} --table {input.table:q} "
        "--library {input.library:q} --svg {output.svg:q} --html {output.html:q}"


rule costs:
    input:
        table=table("runs"),
        others=[path for path in SHOWN_TABLES if path not in (table("runs"), table("costs"))],
        figures=expand(rules.draw.output.svg, figure=SHOWN_FIGURES),
    output:
        tables_of("costs"),
    log:
        f"{LOGS}/costs.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("costs"),
        code=code("costs"),
        logs=logs_folder,
        out=output_folder,
    message:
        "tell where the seconds went; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --table {input.table:q} --logs {params.logs:q} --out {params.out:q}"


rule latex:
    input:
        tables=map(table, ["runs", *FINDINGS]),
        baselines=BASELINE_FILES,
    output:
        expand(f"{TABLES}/{{name}}.tex", name=["results", *FINDINGS]),
    log:
        f"{LOGS}/latex.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("latex"),
        code=code("latex"),
        baselines=baseline_folders,
        out=output_folder,
    message:
        "write tables for papers; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --tables {input.tables:q} {params.baselines} --out {params.out:q}"


rule summary:
    input:
        tables=SHOWN_TABLES,
        latex=rules.latex.output,
        figures=expand(rules.draw.output.svg, figure=SHOWN_FIGURES),
        interactive=expand(rules.draw.output.html, figure=SHOWN_FIGURES),
        runs=files_of_runs("train.json"),
        baselines=BASELINE_FILES,
        reviews=expand(rules.download.output.counts, dataset=DATASET),
        splits=expand(rules.split.output.counts, dataset=DATASET),
        tokens=expand(rules.pretokenize.output.counts, dataset=DATASET, model=MODELS),
    output:
        "results/summary.md",
    log:
        f"{LOGS}/summary.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("summary"),
        code=code("summary"),
        study=STUDY,
        runs=run_folders,
        baselines=baseline_folders,
    message:
        "write the summary; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --study {params.study} --tables {input.tables:q} --figures {input.figures:q} "
        "--runs {params.runs} {params.baselines} --reviews {input.reviews:q} --splits {input.splits:q} "
        "--tokens {input.tokens:q} --out {output:q}"


rule summary_html:
    input:
        page=rules.summary.output,
        figures=expand(rules.draw.output.svg, figure=SHOWN_FIGURES),
    output:
        report(
            "results/pages/summary.html",
            caption="../report/summary.rst",
            category="1 Summary",
            labels={"page": "Summary of the study"},
        ),
    log:
        f"{LOGS}/summary_html.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("summary_html"),
        code=code("summary_html"),
    message:
        "turn the summary into a page of its own; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --page {input.page:q} --out {output:q}"


rule tables_html:
    input:
        tables=tables_to_read,
        reviews=expand(rules.download.output.counts, dataset=DATASET),
    output:
        report(
            "results/pages/{part}.html",
            caption="../report/tables.rst",
            category="3 Tables",
            labels={"tables": "{part}"},
        ),
    log:
        f"{LOGS}/tables_html_{{part}}.log",
    localrule: True
    conda:
        "../../envs/results.yaml"
    params:
        command=command("tables_html"),
        code=code("tables_html"),
    message:
        "turn the tables of {wildcards.part} into a page; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --tables {input.tables:q} --reviews {input.reviews:q} "
        "--out {output:q}"
