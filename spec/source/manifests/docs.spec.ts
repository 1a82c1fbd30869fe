import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { readDocument, splitDocuments } from '../../../lib/source/manifests/documents.js';
import { MAX_FILE_BYTES } from '../../../lib/source/manifests/file-text.js';
import { MAX_FILES } from '../../../lib/source/manifests/listing.js';
import { MAX_ALIASED_VALUES, MAX_DEPTH } from '../../../lib/source/manifests/yaml-value.js';
import { parseObjects } from '../../../lib/source/objects/kube-object.js';

describe('docs/manifests.md', () => {
  it('shows a manifest that is read without a fault', async () => {
    const [, example = ''] = /```yaml\n(.*?)```/s.exec(await readFile('docs/manifests.md', 'utf8')) ?? [];
    const items = splitDocuments(example).flatMap(({ text }) => {
      const document = readDocument(text);
      return 'value' in document ? parseObjects(document.value, { allowLoopback: true }).items : [];
    });
    expect(items.map(({ id, parsed }) => [id, 'ok' in parsed])).to.deep.equal([
      ['Service work/saythx-redis', true],
      ['EndpointSlice work/saythx-redis-1', true],
    ]);
  });

  it('says the bounds as they are', async () => {
    const text = await readFile('docs/manifests.md', 'utf8');
    expect(text).to.contain(`| size of a file | ${MAX_FILE_BYTES / 1024 / 1024} MiB |`);
    expect(text).to.contain(`| levels of a YAML document | ${MAX_DEPTH} |`);
    expect(text).to.contain(`each use counted | ${MAX_ALIASED_VALUES.toLocaleString('en')} |`);
    expect(text).to.contain(`| files in a directory | ${MAX_FILES.toLocaleString('en')} |`);
  });
});
