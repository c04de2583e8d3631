"""From a source of reviews to tokens: download, split, encoder, pretokenize."""


rule download:
    input:
        files=dataset_files,
        script=script("download.py"),
        library=library("download.py"),
    output:
        reviews=f"{REVIEWS}/reviews.parquet",
        counts=f"{REVIEWS}/reviews.json",
    log:
        "results/logs/dataset={dataset}/download.log",
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        source=dataset_flags,
        out=output_folder,
    message:
        "fetch and clean the reviews of {wildcards.dataset}"
    shell:
        "python {input.script} {params.source} --out {params.out} > {log} 2>&1"


rule split:
    input:
        reviews=rules.download.output.reviews,
        script=script("split.py"),
        library=library("split.py"),
    output:
        train=f"{REVIEWS}/splits/train.parquet",
        valid=f"{REVIEWS}/splits/valid.parquet",
        test=f"{REVIEWS}/splits/test.parquet",
        counts=f"{REVIEWS}/splits.json",
    log:
        "results/logs/dataset={dataset}/split.log",
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        how=flags(config["split"]),
        out=output_folder,
    message:
        "divide the reviews of {wildcards.dataset}"
    shell:
        "python {input.script} --reviews {input.reviews} {params.how} "
        "--out {params.out} --counts {output.counts} > {log} 2>&1"


rule encoder:
    input:
        files=encoder_files,
        script=script("encoder.py"),
        library=library("encoder.py"),
    output:
        directory(ENCODER),
    log:
        "results/logs/dataset={dataset}/model={model}/encoder.log",
    conda:
        "../../envs/training.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        source=encoder_flags,
    message:
        "bring the encoder {wildcards.model}"
    shell:
        "python {input.script} {params.source} --out {output} > {log} 2>&1"


rule pretokenize:
    input:
        splits=[
            rules.split.output.train,
            rules.split.output.valid,
            rules.split.output.test,
        ],
        encoder=rules.encoder.output,
        script=script("pretokenize.py"),
        library=library("pretokenize.py"),
    output:
        train=f"{TOKENS}/train.parquet",
        valid=f"{TOKENS}/valid.parquet",
        test=f"{TOKENS}/test.parquet",
    log:
        "results/logs/dataset={dataset}/model={model}/pretokenize.log",
    conda:
        "../../envs/training.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        splits=input_folder,
        max_length=config["max_length"],
        out=output_folder,
    message:
        "tokenize {wildcards.dataset} for {wildcards.model}"
    shell:
        "python {input.script} --splits {params.splits} --encoder {input.encoder} "
        "--max-length {params.max_length} --threads {threads} --out {params.out} > {log} 2>&1"
