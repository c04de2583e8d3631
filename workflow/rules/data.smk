"""From a source of reviews to tokens: download, split, encoder, pretokenize."""


rule download:
    input:
        files=dataset_files,
        command=command("download"),
        code=code("download"),
    output:
        reviews=f"{REVIEWS}/reviews.parquet",
        counts=f"{REVIEWS}/reviews.json",
    log:
        f"{LOGS}/dataset={{dataset}}/download.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        source=dataset_flags,
        out=output_folder,
    message:
        "fetch and clean the reviews of {wildcards.dataset}; log: {log}"
    shell:
        "python {input.command:q} --log {log} {params.source} --out {params.out}"


rule split:
    input:
        reviews=rules.download.output.reviews,
        command=command("split"),
        code=code("split"),
    output:
        train=f"{REVIEWS}/splits/train.parquet",
        valid=f"{REVIEWS}/splits/valid.parquet",
        test=f"{REVIEWS}/splits/test.parquet",
        counts=f"{REVIEWS}/splits.json",
    log:
        f"{LOGS}/dataset={{dataset}}/split.log",
    conda:
        "../../envs/data.yaml"
    params:
        how=planning.flags(config["split"]),
        out=output_folder,
    message:
        "divide the reviews of {wildcards.dataset}; log: {log}"
    shell:
        "python {input.command:q} --log {log} --reviews {input.reviews} {params.how} --out {params.out} "
        "--counts {output.counts}"


rule encoder:
    input:
        files=encoder_files,
        command=command("encoder"),
        code=code("encoder"),
    output:
        directory(ENCODER),
    log:
        f"{LOGS}/dataset={{dataset}}/model={{model}}/encoder.log",
    localrule: True
    conda:
        "../../envs/training.yaml"
    params:
        source=encoder_flags,
    message:
        "bring the encoder {wildcards.model}; log: {log}"
    shell:
        "python {input.command:q} --log {log} {params.source} --out {output}"


rule pretokenize:
    input:
        splits=[rules.split.output.train, rules.split.output.valid, rules.split.output.test],
        encoder=rules.encoder.output,
        command=command("pretokenize"),
        code=code("pretokenize"),
    output:
        train=f"{TOKENS}/train.parquet",
        valid=f"{TOKENS}/valid.parquet",
        test=f"{TOKENS}/test.parquet",
    log:
        f"{LOGS}/dataset={{dataset}}/model={{model}}/pretokenize.log",
    conda:
        "../../envs/training.yaml"
    threads: 4
    params:
        splits=input_folder,
        max_length=config["max_length"],
        out=output_folder,
    message:
        "tokenize {wildcards.dataset} for {wildcards.model}; log: {log}"
    shell:
        "python {input.command:q} --log {log} --splits {params.splits} --encoder {input.encoder} "
        "--max-length {params.max_length} --threads {threads} --out {params.out}"
