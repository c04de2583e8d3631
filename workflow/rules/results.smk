"""From tables to what people read: figures, the summary, and pages of the report."""


rule vega:
    output:
        f"{FIGURES}/vega.js",
    log:
        f"{LOGS}/vega.log",
    conda:
        "../../envs/results.yaml"
    params:
        command=command("vega"),
        code=code("vega"),
    message:
        "write the library of interactive figures; log: {log}"
    shell:
        "python {params.command:q} --log {log} --out {output}"


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
    conda:
        "../../envs/results.yaml"
    params:
        command=command("draw"),
        code=code("draw"),
        caption=figure_caption,
    message:
        "draw {wildcards.figure}; log: {log}"
    shell:
        "python {params.command:q} --log {log} {wildcards.figure} --table {input.table} "
        "--library {input.library} --svg {output.svg} --html {output.html}"


rule costs:
    input:
        table=table("runs"),
        others=[path for path in SHOWN_TABLES if path not in (table("runs"), table("costs"))],
        figures=expand(rules.draw.output.svg, figure=SHOWN_FIGURES),
    output:
        tables_of("costs"),
    log:
        f"{LOGS}/costs.log",
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
        "python {params.command:q} --log {log} --table {input.table} --logs {params.logs} --out {params.out}"


rule latex:
    input:
        tables=map(table, ["runs", *FINDINGS]),
        baselines=BASELINE_FILES,
    output:
        expand(f"{TABLES}/{{name}}.tex", name=["results", *FINDINGS]),
    log:
        f"{LOGS}/latex.log",
    conda:
        "../../envs/results.yaml"
    params:
        command=command("latex"),
        code=code("latex"),
        baselines=baseline_flags,
        out=output_folder,
    message:
        "write tables for papers; log: {log}"
    shell:
        "python {params.command:q} --log {log} --tables {input.tables} {params.baselines} --out {params.out}"


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
    output:
        "results/summary.md",
    log:
        f"{LOGS}/summary.log",
    conda:
        "../../envs/results.yaml"
    params:
        command=command("summary"),
        code=code("summary"),
        study=STUDY,
        runs=run_folders,
        baselines=baseline_flags,
    message:
        "write the summary; log: {log}"
    shell:
        "python {params.command:q} --log {log} --study {params.study} --tables {input.tables} --figures {input.figures} "
        "--runs {params.runs} {params.baselines} --reviews {input.reviews} --splits {input.splits} "
        "--out {output}"


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
    conda:
        "../../envs/results.yaml"
    params:
        command=command("summary_html"),
        code=code("summary_html"),
    message:
        "turn the summary into a page of its own; log: {log}"
    shell:
        "python {params.command:q} --log {log} --page {input.page} --out {output}"


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
    conda:
        "../../envs/results.yaml"
    params:
        command=command("tables_html"),
        code=code("tables_html"),
    message:
        "turn the tables of {wildcards.part} into a page; log: {log}"
    shell:
        "python {params.command:q} --log {log} --tables {input.tables} --reviews {input.reviews} "
        "--out {output}"
