import { execFileSync } from 'node:child_process';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import { loadManifests } from '../../../lib/source/manifests/load-manifests.js';
import { faultText } from '../../../lib/source/manifests/manifest-fault.js';
import { requires } from '../../support/requires.js';
import { documents, service, slice, tempDir } from './temp-dir.js';

describe('loading manifests', () => {
  const inDir = tempDir();

  /** Keys of all objects, and faults with file names instead of paths. */
  async function load(...names: readonly string[]) {
    const paths = names.length === 0 ? [inDir()] : names.map((name) => inDir(name));
    const { services, slices, nodes, faults, ignored } = await loadManifests(paths);
    const keys = [...services, ...slices].map(({ key }) => key);
    const lines = faults.map((fault) => faultText(fault).replaceAll(`${inDir()}/`, ''));
    return { keys: [...keys, ...nodes.map(({ name }) => name)], lines, ignored: [...ignored], services };
  }

  it('reads YAML and JSON of a directory, neither hidden files nor what is deeper', async () => {
    await mkdir(inDir('deeper'));
    await mkdir(inDir('directory.yaml'));
    await writeFile(inDir('b.yml'), service('b'));
    await writeFile(inDir('a.yaml'), documents(service('a'), slice('a', '127.0.0.1')));
    await writeFile(inDir('c.json'), JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-a' } }));
    for (const name of ['.hidden.yaml', 'deeper/d.yaml', 'notes.txt', 'a.yaml~'])
      await writeFile(inDir(name), service('no'));
    expect(await load()).to.deep.include({ keys: ['default/a', 'default/b', 'default/a-1', 'node-a'], lines: [] });
  });

  for (const [title, text] of [
    ['Windows line ends', service('web').replaceAll('\n', '\r\n')],
    ['a byte order mark', `\ufeff${service('web')}`],
    ['tabs between words', service('web').replaceAll(': ', ':\t')],
    ['a List', `apiVersion: v1\nkind: List\nitems:\n- ${service('web').trimEnd().replaceAll('\n', '\n  ')}\n`],
    [
      'JSON with tabs',
      JSON.stringify(
        { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec: { ports: [{ port: 80 }] } },
        null,
        '\t',
      ),
    ],
    [
      'flow style with comments',
      '{apiVersion: v1, kind: Service, # ours\n metadata: {name: web}, spec: {ports: [{port: 80}]}}',
    ],
  ] as const) {
    it(`reads a file with ${title}`, async () => {
      await writeFile(inDir('web.yaml'), text);
      expect(await load()).to.deep.include({ keys: ['default/web'], lines: [] });
    });
  }

  it('names file, line, column, object and field of every fault at once (C1)', async () => {
    await writeFile(
      inDir('a.yaml'),
      documents(service('a', 0), `${service('b')}  type: Nodeport\n  clusterIP: 10.0.0.300\n`),
    );
    const json = [{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'c' }, spec: { ports: [{ port: '80' }] } }];
    await writeFile(inDir('c.json'), JSON.stringify({ apiVersion: 'v1', kind: 'List', items: json }, null, 2));
    expect((await load()).lines).to.deep.equal([
      'a.yaml:7:13: Service default/a: spec.ports[0].port: expected a port from 1 to 65535, got 0',
      'a.yaml:16:9: Service default/b: spec.type: expected one of ClusterIP, NodePort, LoadBalancer, ExternalName, got "Nodeport"',
      'a.yaml:17:14: Service default/b: spec.clusterIP: expected an IP address, got "10.0.0.300"',
      'c.json:14:21: Service default/c: spec.ports[0].port: expected a port from 1 to 65535, got "80"',
    ]);
  });

  it('lets a syntax error cost its own document alone (C2)', async () => {
    const text = documents(service('a'), 'kind: "Service\n', service('b'), 'a: [\n', service('c'));
    await writeFile(inDir('a.yaml'), text);
    const { keys, lines } = await load();
    expect(keys).to.deep.equal(['default/a', 'default/b', 'default/c']);
    expect(lines.map((line) => line.split(': ').slice(0, 2).join(': '))).to.deep.equal([
      'a.yaml:10:1: expected YAML',
      'a.yaml:20:1: expected YAML',
    ]);
  });

  it('takes the first of an object that stands twice, and names both places (C2)', async () => {
    await writeFile(inDir('b.yaml'), service('web', 81));
    await writeFile(inDir('a.yaml'), documents(service('other'), service('web', 80), service('web', 82)));
    const { services, lines } = await load();
    expect(services.map(({ key, ports }) => [key, ports[0]?.port])).to.deep.equal([
      ['default/other', 80],
      ['default/web', 80],
    ]);
    expect(lines).to.deep.equal([
      'a.yaml:17:1: Service default/web: expected to stand once, got it again after a.yaml:9:1, which is used',
      'b.yaml:1:1: Service default/web: expected to stand once, got it again after a.yaml:9:1, which is used',
    ]);
    expect((await load('b.yaml', 'a.yaml')).services.find(({ name }) => name === 'web')?.ports[0]?.port).to.equal(81);
  });

  it('reads a file once that is named twice', async () => {
    await writeFile(inDir('a.yaml'), service('a'));
    expect((await load('a.yaml', '.', './a.yaml')).lines).to.deep.equal([]);
  });

  it('leaves out kinds that a proxy has no use for, and counts them', async () => {
    const deployment = 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n';
    await writeFile(inDir('a.yaml'), documents(deployment, service('a'), deployment));
    expect(await load()).to.deep.include({ keys: ['default/a'], lines: [], ignored: [['apps/v1 Deployment', 2]] });
  });

  it('names every path that is not there (C1)', async () => {
    await writeFile(inDir('a.yaml'), service('a'));
    const { keys, lines } = await load('none', 'a.yaml', 'a.yaml/none');
    expect(keys).to.deep.equal(['default/a']);
    expect(lines).to.deep.equal([
      'none: expected a file or directory, got nothing',
      'a.yaml/none: expected a file or directory, got nothing',
    ]);
  });

  it('says which files cannot be read (C1)', async () => {
    await writeFile(inDir('utf16.yaml'), Buffer.from(service('a'), 'utf16le'));
    await writeFile(inDir('latin1.yaml'), Buffer.from('a: \xe9', 'latin1'));
    await symlink('nowhere', inDir('link.yaml'));
    await symlink('loop.yaml', inDir('loop.yaml'));
    await writeFile(inDir('huge.yaml'), Buffer.alloc(32 * 1024 * 1024 + 1, 0x20));
    expect((await load()).lines).to.deep.equal([
      'huge.yaml: expected at most 32 MiB, got 33554433 bytes',
      'latin1.yaml: expected UTF-8 text, got bytes that are none',
      'link.yaml: expected a file that can be read, got ENOENT',
      'loop.yaml: expected a file that can be read, got ELOOP',
      'utf16.yaml: expected UTF-8 text, got bytes that are none',
    ]);
  });

  it('does not wait for the writer of a FIFO (C2)', async function () {
    requires(this, 'mkfifo');
    execFileSync('mkfifo', [inDir('pipe.yaml')]);
    expect((await load()).lines).to.deep.equal(['pipe.yaml: expected a regular file, got something else']);
  });

  it('forges no log line from names of files and objects (C1)', async () => {
    await writeFile(inDir('a\nERROR.yaml'), service('"web;iptables -F\\n$(reboot)\\e[2J"'));
    const { keys, lines } = await load();
    expect(keys).to.deep.equal([]);
    expect(lines).to.have.length(1);
    for (const line of lines)
      expect(line).to.match(/^a\\u000aERROR\.yaml:4:9: Service default\/".*": metadata\.name: [^\p{Cc}]*$/u);
  });

  it('never throws, whatever stands in a file (C2)', async () => {
    const words = [
      'a',
      ': ',
      '- ',
      '\n',
      '\n---\n',
      '&a ',
      '*a',
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      '|',
      '>',
      '!!x ',
      '%',
      '#',
      '\t',
      '\r',
      '...',
      '<<',
      '? ',
      '\0',
      '\u2028',
      ' ',
    ];
    const text = fc.oneof(fc.string({ unit: fc.constantFrom(...words), maxLength: 60 }), fc.string(), fc.json());
    await fc.assert(
      fc.asyncProperty(fc.oneof(text, fc.uint8Array()), async (content) => {
        await writeFile(inDir('a.yaml'), content);
        const { faults } = await loadManifests([inDir('a.yaml')]);
        for (const fault of faults) expect(faultText(fault)).to.match(/^[^\p{Cc}]*$/u);
      }),
      { numRuns: 500 },
    );
  });
});
