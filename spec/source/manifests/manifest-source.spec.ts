import { mkdir, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { expect } from 'chai';
import type { Log } from '../../../lib/config/log.js';
import { faultText, type ManifestFault } from '../../../lib/source/manifests/manifest-fault.js';
import { ManifestSource } from '../../../lib/source/manifests/manifest-source.js';
import { SourceError } from '../../../lib/source/source-error.js';
import { ObjectStore } from '../../../lib/source/store.js';
import { until } from '../../support/until.js';
import { documents, replaceFile, service, slice, tempDir } from './temp-dir.js';

const LIVE_MS = 1_000;

describe('manifests that are edited', () => {
  const inDir = tempDir();
  const running: ManifestSource[] = [];

  afterEach(async () => {
    for (const source of running.splice(0)) await source.stop();
  });

  /** A source that has started, what is in its store, and all that it told. */
  async function start(paths: readonly string[] = [inDir()], pollMs = 0) {
    const store = new ObjectStore();
    const changed: string[] = [];
    const warned: string[] = [];
    const reported: (readonly ManifestFault[])[] = [];
    const log: Log = {
      debug: () => undefined,
      info: () => undefined,
      warn: (_message, fields) => warned.push(String(fields?.['key']).replaceAll(`${inDir()}/`, '')),
      error: (message, fields) => expect.fail(`${message} ${fields?.['err']}`),
    };
    const source = new ManifestSource({ paths, store, log, pollMs, onFaults: (faults) => reported.push(faults) });
    running.push(source);
    await source.start();
    store.subscribe({
      serviceChanged: (key, kind) => changed.push(`${kind} ${key}`),
      nodeChanged: () => changed.push('node'),
      synced: () => undefined,
    });
    const port = (name: string) => store.service(`default/${name}`)?.ports[0]?.port;
    const faults = () => source.faults.map((fault) => faultText(fault).replaceAll(`${inDir()}/`, ''));
    const addresses = (name: string) =>
      store.slicesOf(`default/${name}`).flatMap(({ endpoints }) => [...endpoints].map(({ address }) => address));
    return { source, store, changed, warned, reported, port, faults, addresses };
  }

  it('is synced after the first full load (Y1)', async () => {
    await writeFile(inDir('a.yaml'), documents(service('a'), slice('a', '127.0.0.1')));
    const { store, port, addresses } = await start();
    expect(store.isSynced).to.equal(true);
    expect([port('a'), addresses('a')]).to.deep.equal([80, ['127.0.0.1']]);
  });

  it('is synced though some objects are bad (C2)', async () => {
    await writeFile(inDir('a.yaml'), documents(service('a', 0), service('b')));
    const { store, port, warned } = await start();
    expect([store.isSynced, port('a'), port('b')]).to.deep.equal([true, undefined, 80]);
    expect(warned).to.deep.equal([
      'a.yaml:7:13: Service default/a: spec.ports[0].port: expected a port from 1 to 65535, got 0',
    ]);
  });

  it('refuses to start where paths do not exist, and names each (C1)', async () => {
    const store = new ObjectStore();
    const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
    const source = new ManifestSource({ paths: [inDir('x'), inDir(), inDir('y')], store, log, pollMs: 0 });
    const error = await source.start().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    await source.stop();
    expect(error).to.be.instanceOf(SourceError).and.to.include({ code: 'NOT_FOUND' });
    expect(String(error)).to.contain(inDir('x')).and.to.contain(inDir('y'));
    expect(store.isSynced).to.equal(false);
  });

  for (const [title, write] of [
    ['written in place', writeFile],
    ['replaced by renaming', replaceFile],
  ] as const) {
    it(`has an edit ${title} live within a second`, async () => {
      await writeFile(inDir('a.yaml'), service('a', 80));
      const { port } = await start();
      for (const next of [81, 82]) {
        await write(inDir('a.yaml'), service('a', next));
        await until(`port ${next}`, () => port('a') === next, LIVE_MS);
      }
    });

    it(`has an edit of a single file ${title} live within a second`, async () => {
      await writeFile(inDir('a.yaml'), service('a', 80));
      const { port } = await start([inDir('a.yaml')]);
      for (const next of [81, 82]) {
        await write(inDir('a.yaml'), service('a', next));
        await until(`port ${next}`, () => port('a') === next, LIVE_MS);
      }
    });
  }

  it('follows a file that appears, vanishes and comes back', async () => {
    const { port } = await start();
    await writeFile(inDir('a.yaml'), service('a', 80));
    await until('the Service', () => port('a') === 80, LIVE_MS);
    await unlink(inDir('a.yaml'));
    await until('no Service', () => port('a') === undefined);
    await writeFile(inDir('a.yaml'), service('a', 81));
    await until('the Service again', () => port('a') === 81, LIVE_MS);
  });

  it('follows the link that a ConfigMap volume swaps', async () => {
    await mkdir(inDir('..1'));
    await mkdir(inDir('..2'));
    await writeFile(inDir('..1', 'a.yaml'), service('a', 80));
    await writeFile(inDir('..2', 'a.yaml'), service('a', 81));
    await symlink('..1', inDir('..data'));
    await symlink('..data/a.yaml', inDir('a.yaml'));
    const { port, changed } = await start();
    expect(port('a')).to.equal(80);
    await symlink('..2', inDir('..data_tmp'));
    await rename(inDir('..data_tmp'), inDir('..data'));
    await rm(inDir('..1'), { recursive: true });
    await until('the swap', () => port('a') === 81, LIVE_MS);
    expect(changed).to.deep.equal(['service default/a']);
  });

  it('follows a link into another directory, where the file is edited', async () => {
    await mkdir(inDir('real'));
    await mkdir(inDir('links'));
    await writeFile(inDir('real', 'a.yaml'), service('a', 80));
    await symlink('../real/a.yaml', inDir('links', 'a.yaml'));
    const { port } = await start([inDir('links')]);
    await writeFile(inDir('real', 'a.yaml'), service('a', 81));
    await until('the edit', () => port('a') === 81, LIVE_MS);
  });

  it('follows a directory that is replaced by another', async () => {
    await mkdir(inDir('now'));
    await mkdir(inDir('next'));
    await writeFile(inDir('now', 'a.yaml'), service('a', 80));
    await writeFile(inDir('next', 'a.yaml'), service('a', 81));
    const { port } = await start([inDir('now')]);
    await rename(inDir('now'), inDir('old'));
    await rename(inDir('next'), inDir('now'));
    await until('the other directory', () => port('a') === 81, LIVE_MS);
    await writeFile(inDir('now', 'a.yaml'), service('a', 82));
    await until('an edit in it', () => port('a') === 82, LIVE_MS);
  });

  it('finds by polling what no event told', async () => {
    await mkdir(inDir('deep'));
    await mkdir(inDir('deep', '1'));
    await mkdir(inDir('deep', '2'));
    await mkdir(inDir('links'));
    await writeFile(inDir('deep', '1', 'a.yaml'), service('a', 80));
    await writeFile(inDir('deep', '2', 'a.yaml'), service('a', 81));
    await symlink('1', inDir('deep', 'now'));
    await symlink('../deep/now/a.yaml', inDir('links', 'a.yaml'));
    const { port } = await start([inDir('links')], 100);
    await symlink('2', inDir('deep', 'tmp'));
    await rename(inDir('deep', 'tmp'), inDir('deep', 'now'));
    await until('the swap', () => port('a') === 81);
  });

  it('touches only the Services that changed', async () => {
    await writeFile(inDir('a.yaml'), documents(service('a'), service('b'), slice('b', '127.0.0.1')));
    const { changed, port, source } = await start();
    await writeFile(inDir('a.yaml'), `# moved\n${documents(service('a', 81), slice('b', '127.0.0.1'), service('b'))}`);
    await until('the edit', () => port('a') === 81);
    await source.reload();
    expect(changed).to.deep.equal(['service default/a']);
  });

  it('keeps the last good version of an object that becomes bad, and says so (C2)', async () => {
    await writeFile(inDir('a.yaml'), documents(service('a', 80), service('b', 80)));
    const { port, faults, source } = await start();
    await writeFile(inDir('a.yaml'), documents(service('a', 0), service('b', 81)));
    await until('the rest of the edit', () => port('b') === 81);
    await source.reload();
    expect(port('a')).to.equal(80);
    expect(faults()).to.deep.equal([
      'a.yaml:7:13: Service default/a: spec.ports[0].port: expected a port from 1 to 65535, got 0; the last good version stays in force',
    ]);
    await writeFile(inDir('a.yaml'), documents(service('a', 82), service('b', 81)));
    await until('the mended object', () => port('a') === 82);
    expect(faults()).to.deep.equal([]);
  });

  it('keeps what cannot be found in a file with a syntax error until it parses (C2)', async () => {
    await writeFile(inDir('a.yaml'), documents(service('a'), service('b'), service('c')));
    const { port, faults, source } = await start();
    await writeFile(inDir('a.yaml'), documents(service('a', 81), 'kind: "Serv'));
    await until('what parses', () => port('a') === 81);
    await source.reload();
    expect([port('b'), port('c')]).to.deep.equal([80, 80]);
    expect(faults()).to.have.length(1);
    expect(faults()[0]).to.match(
      /^a\.yaml:9:12: expected YAML: .*; what is missing of the file stays as it was \(objects: 2\)$/,
    );
    await writeFile(inDir('a.yaml'), documents(service('a', 81), service('c')));
    await source.reload();
    expect([port('b'), port('c'), faults()]).to.deep.equal([undefined, 80, []]);
  });

  it('keeps what cannot be told from others because its name became bad (C2)', async () => {
    await writeFile(inDir('a.yaml'), service('a'));
    const { port, faults, source } = await start();
    await writeFile(inDir('a.yaml'), service('A'));
    await source.reload();
    expect(port('a')).to.equal(80);
    expect(faults()[0]).to.contain('metadata.name').and.to.contain('stays as it was (objects: 1)');
  });

  it('keeps what a file held that cannot be read any more (C2)', async () => {
    await writeFile(inDir('a.yaml'), service('a'));
    const { port, source, faults } = await start();
    await unlink(inDir('a.yaml'));
    await symlink('nowhere', inDir('a.yaml'));
    await source.reload();
    expect(port('a')).to.equal(80);
    expect(faults()).to.deep.equal([
      'a.yaml: expected a file that can be read, got ENOENT; what is missing of the file stays as it was (objects: 1)',
    ]);
  });

  it('lets a file be truncated and written again without a moment of nothing (C2)', async () => {
    await writeFile(inDir('a.yaml'), service('a'));
    const { port, changed, source } = await start();
    await writeFile(inDir('a.yaml'), '');
    await replaceFile(inDir('b.yaml'), service('b'));
    await until('a look at the empty file', () => port('b') === 80);
    expect(port('a')).to.equal(80);
    await writeFile(inDir('a.yaml'), service('a', 81));
    await until('the whole file', () => port('a') === 81);
    await source.reload();
    expect(changed).to.deep.equal(['service default/b', 'service default/a']);
  });

  it('deletes what stands in no file any more', async () => {
    const endpoints = `apiVersion: v1\nkind: Endpoints\nmetadata: {name: c}\nsubsets:\n- {addresses: [{ip: 127.0.0.1}]}\n`;
    const node = 'apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\n';
    await writeFile(inDir('a.yaml'), documents(service('a'), service('b'), slice('b', '127.0.0.1'), endpoints, node));
    const { store, port, addresses } = await start();
    expect([addresses('b'), addresses('c')]).to.deep.equal([['127.0.0.1'], ['127.0.0.1']]);
    await writeFile(inDir('a.yaml'), service('a'));
    await until('the deletion', () => port('b') === undefined && store.node('node-a') === undefined);
    expect([port('a'), addresses('b'), addresses('c')]).to.deep.equal([80, [], []]);
  });

  it('deletes the subset that an Endpoints object lost', async () => {
    const endpoints = (subsets: string) =>
      `apiVersion: v1\nkind: Endpoints\nmetadata: {name: c}\nsubsets: [${subsets}]\n`;
    const [one, two] = ['{addresses: [{ip: 127.0.0.1}]}', '{addresses: [{ip: 127.0.0.2}]}'];
    await writeFile(inDir('a.yaml'), endpoints(`${one}, ${two}`));
    const { addresses, source } = await start();
    expect(addresses('c')).to.deep.equal(['127.0.0.1', '127.0.0.2']);
    await writeFile(inDir('a.yaml'), endpoints(one));
    await source.reload();
    expect(addresses('c')).to.deep.equal(['127.0.0.1']);
  });

  it('moves an endpoint from one slice to another without a moment in neither (S5)', async () => {
    const two = slice('a', '127.0.0.3').replace('a-1', 'a-2');
    await writeFile(inDir('a.yaml'), documents(slice('a', '127.0.0.1', '127.0.0.2'), two));
    const { store, addresses, source } = await start();
    const seen: string[][] = [];
    store.subscribe({
      serviceChanged: () => seen.push(addresses('a')),
      nodeChanged: () => undefined,
      synced: () => undefined,
    });
    await writeFile(inDir('a.yaml'), slice('a', '127.0.0.1', '127.0.0.2', '127.0.0.3'));
    await source.reload();
    expect(seen).to.deep.equal([['127.0.0.1', '127.0.0.2', '127.0.0.3']]);
  });

  it('logs a fault once, however often it is read again (C1)', async () => {
    await writeFile(inDir('a.yaml'), service('a', 0));
    const { source, warned, reported } = await start();
    await source.reload();
    await writeFile(inDir('b.yaml'), service('b', 0));
    await source.reload();
    await source.reload();
    expect(warned.map((line) => line.split(':')[0])).to.deep.equal(['a.yaml', 'b.yaml']);
    expect(reported.map((faults) => faults.length)).to.deep.equal([1, 2]);
  });

  it('says nothing and changes nothing once it has stopped', async () => {
    await writeFile(inDir('a.yaml'), service('a', 80));
    const { source, port } = await start([inDir()], 10);
    const reloading = source.reload();
    await source.stop();
    await reloading;
    await writeFile(inDir('a.yaml'), service('a', 81));
    await source.reload();
    expect(port('a')).to.equal(80);
  });

  it('has an edit of one among 2,000 Services live within a second', async () => {
    const all = Array.from({ length: 2_000 }, (_, index) => service(`s${index}`));
    await writeFile(inDir('a.yaml'), documents(...all));
    const { port, changed } = await start();
    await writeFile(inDir('a.yaml'), documents(...all.with(1_000, service('s1000', 81))));
    await until('the edit', () => port('s1000') === 81, LIVE_MS);
    expect(changed).to.deep.equal(['service default/s1000']);
  }).timeout(20_000);
});
