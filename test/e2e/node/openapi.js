// SPDX-License-Identifier: Apache-2.0
// Judges the OpenAPI document that is given as the first file: is it valid OpenAPI, is every pattern one of
// JavaScript, does every schema compile? The second file, a list of {path, method, code, body} (code "request": what
// is sent), holds what was really exchanged: each must be what the document says. Prints what is wrong, a line each.
"use strict";
const fs = require("fs");
const Ajv = require("ajv/dist/2020");

async function main() {
    const { Validator } = await import("@seriousme/openapi-schema-validator");
    const doc = JSON.parse(fs.readFileSync(process.argv[2]));
    const seen = JSON.parse(fs.readFileSync(process.argv[3]));
    const wrong = [];
    const validator = new Validator();
    const result = await validator.validate(structuredClone(doc));
    if (!result.valid) {
        wrong.push("no valid OpenAPI: " + JSON.stringify(result.errors).slice(0, 2000));
    }
    if (validator.version !== "3.1") {
        wrong.push("not OpenAPI 3.1 but " + validator.version);
    }
    const walk = (x, at) => {
        if (x && typeof x === "object") {
            if (typeof x.pattern === "string") {
                try {
                    new RegExp(x.pattern, "u");
                } catch (e) {
                    wrong.push(`${at}: ${e.message}`);
                }
            }
            Object.entries(x).forEach(([k, v]) => walk(v, `${at}/${k}`));
        }
    };
    walk(doc, "#");
    const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
    ajv.addSchema(doc, "doc");
    const pointer = (s) => s.replace(/~/g, "~0").replace(/\//g, "~1");
    const check = (where) => ajv.compile({ $ref: "doc#" + encodeURI(where).replace(/#/g, "%23") });
    let schemas = 0;
    for (const [path, item] of Object.entries(doc.paths)) {
        const named = [...path.matchAll(/{([^}]*)}/g)].map((m) => m[1]).sort();
        const given = (item.parameters || []).filter((p) => p.in === "path").map((p) => p.name).sort();
        if (JSON.stringify(named) !== JSON.stringify(given)) {
            wrong.push(`${path}: parameters ${given} for ${named}`);
        }
        for (const [method, op] of Object.entries(item)) {
            const contents = [];
            if (op.requestBody) {
                contents.push(["requestBody", op.requestBody.content]);
            }
            for (const [code, r] of Object.entries(op.responses || {})) {
                if (r.content) {
                    contents.push([`responses/${code}`, r.content]);
                }
            }
            for (const [what, content] of contents) {
                if (content["application/yang-data+json"] && content["application/yang-data+json"].schema) {
                    check(`/paths/${pointer(path)}/${method}/${what}/content/application~1yang-data+json/schema`);
                    schemas++;
                }
            }
        }
    }
    for (const { path, method, code, body } of seen) {
        const what = code === "request" ? "requestBody" : `responses/${code}`;
        const op = (doc.paths[path] || {})[method];
        if (!op || (code !== "request" && !op.responses[code])) {
            wrong.push(`${method} ${path} ${code} is not in the document`);
            continue;
        }
        if (body !== null) {
            const f = check(`/paths/${pointer(path)}/${method}/${what}/content/application~1yang-data+json/schema`);
            if (!f(body)) {
                wrong.push(`${method} ${path} ${code}: ${JSON.stringify(f.errors).slice(0, 1500)}`);
            }
        }
    }
    console.log(wrong.join("\n"));
    console.error(`${schemas} schemas, ${seen.length} bodies`);
    process.exit(wrong.length > 0 ? 1 : 0);
}

main();
