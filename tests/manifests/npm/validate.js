// SPDX-License-Identifier: MIT
// Reads documents, a JSON array, from standard input; prints a line for each that the models refuse.
const documents = JSON.parse(require('fs').readFileSync(0));
let bad = 0;
for (const document of documents) {
  try {
    const model = require(`kubernetes-models/${document.apiVersion}/${document.kind}`)[document.kind];
    new model(document).validate();
  } catch (error) {
    bad++;
    console.log(`${document.kind}/${document.metadata && document.metadata.name}: ${error.message}`);
  }
}
process.exitCode = bad ? 1 : 0;
