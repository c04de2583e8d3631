"""From a source of reviews to tokens: download, split, encoder, pretokenize."""


rule download:
    input:
        files=map(outside, listed(config["dataset"].get("paths", []))),
    output:
        reviews=f"{REVIEWS}/reviews.parquet",
        counts=f"{REVIEWS}/reviews.json",
    log:
        f"{LOGS}/dataset={{dataset}}/download.log",
    localrule: True
    conda:
        "../../envs/data.yaml"
    params:
        command=command("download"),
        code=code("download"),
        source=planning.source(config["dataset"]),
        division=flags(planning.reading(config["split"])),
        digests=planning.digests(config["dataset"]),
        out=output_folder,
    message:
        "fetch and clean the reviews of {wildcards.dataset}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} {params.source} {params.division} {params.digests} "
        "--out {params.out:q}"


rule split:
    input:
        reviews=rules.download.output.reviews,
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
        command=command("split"),
        code=code("split"),
        how=flags(planning.dividing(config["split"])),
        out=output_folder,
    message:
        "divide the reviews of {wildcards.dataset}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --reviews {input.reviews:q} {params.how} --out {params.out:q} "
        "--counts {output.counts:q}"


rule encoder:
    input:
        files=encoder_files,
        reviews=encoder_reviews,
    output:
        directory(ENCODER),
    log:
        f"{LOGS}/dataset={{dataset}}/model={{model}}/encoder.log",
    localrule: True
    conda:
        "../../envs/training.yaml"
    params:
        command=command("encoder"),
        code=code("encoder"),
        source=lambda wildcards: planning.source(config["models"][wildcards.model]),
        digests=lambda wildcards: planning.digests(config["models"][wildcards.model]),
        learned=lambda wildcards, input: planning.files(reviews=input.reviews),
        trial=encoder_trial,
    message:
        "bring the encoder {wildcards.model}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} {params.source} {params.digests} {params.learned} "
        "{params.trial} --out {output:q}"


rule pretokenize:
    input:
        splits=[rules.split.output.train, rules.split.output.valid, rules.split.output.test],
        encoder=rules.encoder.output,
    output:
        train=f"{TOKENS}/train.parquet",
        valid=f"{TOKENS}/valid.parquet",
        test=f"{TOKENS}/test.parquet",
        counts=f"{TOKENS}/tokens.json",
    log:
        f"{LOGS}/dataset={{dataset}}/model={{model}}/pretokenize.log",
    conda:
        "../../envs/training.yaml"
    threads: 4
    params:
        command=command("pretokenize"),
        code=code("pretokenize"),
        splits=input_folder,
        out=output_folder,
    message:
        "tokenize {wildcards.dataset} for {wildcards.model}; log: {log}"
    shell:
        "python {params.command:q} --log {log:q} --splits {params.splits:q} --encoder {input.encoder:q} "
        "--threads {threads} --out {params.out:q}"
