import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ApiServer, kubeconfig } from '../../support/api-server/api-server.js';
import { makeCertificates } from '../../support/api-server/certificates.js';
import { requires } from '../../support/requires.js';
import { until, within } from '../../support/until.js';
import { serviceJson } from '../objects/kube-json.js';
import { type Following, follow, slice } from './support.js';

describe('credentials for the API server (Y4)', function () {
  this.timeout(20_000);
  let dir: string;
  let server: ApiServer;
  let following: Following | undefined;

  before(function () {
    requires(this, 'openssl');
  });

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kproxy-us-credentials-'));
    server = await ApiServer.start({ tokens: ['first'] });
    server.history.put('services', serviceJson());
    server.history.put('slices', slice('a', '10.0.0.1'));
  });

  afterEach(async () => {
    await following?.stop();
    following = undefined;
    await server.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function put(name: string, text: string): Promise<string> {
    await writeFile(join(dir, name), text, { mode: 0o700 });
    return join(dir, name);
  }

  async function synced(user: object, cluster: object = {}): Promise<Following> {
    following = await follow(server, { config: kubeconfig(server, user, cluster) });
    const { store } = following;
    await until('the first lists', () => store.isSynced);
    return following;
  }

  /** Breaks the watches; what follows needs credentials anew. */
  async function followsAgain(address: string): Promise<void> {
    for (const type of ['services', 'slices', 'nodes'] as const)
      for (const watch of server.watches(type)) watch.reset();
    server.history.put('slices', slice('a', address));
    await until('the change', () => following?.addresses() === address, 10_000);
  }

  it('are a token of the kubeconfig', async () => {
    await synced({ token: 'first' });
    expect(server.requests.every(({ headers }) => headers.authorization === 'Bearer first')).to.equal(true);
  });

  it('are a token file, read again when the server takes the old token no more', async () => {
    const tokenFile = await put('token', 'first\n');
    await synced({ tokenFile });
    await put('token', 'second\n');
    server.tokens = ['second'];
    await followsAgain('10.0.0.2');
    expect(server.requests.some(({ headers }) => headers.authorization === 'Bearer second')).to.equal(true);
  });

  it('stay as they were while a token file is missing', async () => {
    const tokenFile = await put('token', 'first\n');
    await synced({ tokenFile });
    await rm(tokenFile);
    await followsAgain('10.0.0.2');
    await put('token', 'second');
    server.tokens = ['second'];
    await followsAgain('10.0.0.3');
  });

  it('are what a plugin prints, asked again when it is refused', async () => {
    const plugin = `#!${process.execPath}
const { readFileSync, appendFileSync } = require('node:fs');
const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
appendFileSync(${JSON.stringify(join(dir, 'runs'))}, info.spec.cluster.server + '\\n');
const token = readFileSync(${JSON.stringify(join(dir, 'secret'))}, 'utf8') + process.env.SUFFIX + process.argv[2];
console.log(JSON.stringify({ apiVersion: info.apiVersion, kind: 'ExecCredential', status: { token } }));
`;
    await put('plugin.cjs', plugin);
    await put('secret', 'fi');
    const apiVersion = 'client.authentication.k8s.io/v1';
    const env = [{ name: 'SUFFIX', value: 'rs' }];
    const command = join(dir, 'plugin.cjs');
    await synced({ exec: { apiVersion, command, args: ['t'], env, provideClusterInfo: true } });
    await put('secret', 'seco');
    server.tokens = ['secorst'];
    await followsAgain('10.0.0.2');
    expect(server.requests.some(({ headers }) => headers.authorization === 'Bearer secorst')).to.equal(true);
    const told = await readFile(join(dir, 'runs'), 'utf8');
    expect(new Set(told.trim().split('\n'))).to.deep.equal(new Set([`${server.url}/`]));
  });

  it('are tried for again where a plugin fails, and cost no more than the wait', async () => {
    const user = { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: join(dir, 'later.cjs') } };
    following = await follow(server, { config: kubeconfig(server, user) });
    const { lines, store } = following;
    await until('a failure', () => lines.some(({ message }) => message.startsWith('cannot follow')));
    await put(
      'later.cjs',
      `#!${process.execPath}\nconsole.log(JSON.stringify({ kind: 'ExecCredential', status: { token: 'first' } }));\n`,
    );
    await until('the first lists', () => store.isSynced, 10_000);
  });

  it('are not waited for when a plugin hangs and we are to stop (Y6)', async () => {
    const command = await put(
      'hangs.cjs',
      `#!${process.execPath}\nrequire('node:fs').writeFileSync(${JSON.stringify(join(dir, 'pid'))}, String(process.pid));\nsetInterval(() => {}, 1000);\n`,
    );
    const user = { exec: { apiVersion: 'client.authentication.k8s.io/v1', command } };
    following = await follow(server, { config: kubeconfig(server, user) });
    const pid = await until('the plugin', async () => Number(await readFile(join(dir, 'pid'), 'utf8')) || undefined);
    await within('the stop', following.stop(), 1_000);
    following = undefined;
    await until('the plugin to be gone', () => {
      try {
        return !process.kill(pid, 0);
      } catch {
        return true;
      }
    });
  });

  it('are a client certificate, and its next one on connections of its own', async () => {
    server.tokens = [];
    const { client } = server;
    const [certificate, key] = [await put('client.crt', client.cert), await put('client.key', client.key)];
    await synced({ 'client-certificate': certificate, 'client-key': key });
    const other = await makeCertificates('somebody else');
    await put('client.crt', other.client.cert);
    await put('client.key', other.client.key);
    for (const type of ['services', 'slices'] as const) for (const watch of server.watches(type)) watch.reset();
    await until(
      'a refusal',
      () => following?.lines.some(({ fields }) => String(fields['err']).includes('Unauthorized')),
      10_000,
    );
    await put('client.key', client.key);
    await put('client.crt', client.cert);
    await followsAgain('10.0.0.2');
  });

  it('trust no server of another authority, and one with the name that was told', async () => {
    const other = await makeCertificates('somebody else');
    const data = Buffer.from(other.ca).toString('base64');
    following = await follow(server, {
      config: kubeconfig(server, { token: 'first' }, { 'certificate-authority-data': data }),
    });
    const { lines } = following;
    await until('failures', () => lines.filter(({ message }) => message.startsWith('cannot follow')).length > 3);
    expect(server.requests).to.have.length(0);
    await following.stop();
    await synced({ token: 'first' }, { 'tls-server-name': 'kubernetes.default' });
  });

  it('follow a new authority when its file changes', async () => {
    const other = await makeCertificates('the next one');
    const file = await put('ca.crt', other.ca);
    const cluster = { 'certificate-authority-data': undefined, 'certificate-authority': file };
    following = await follow(server, { config: kubeconfig(server, { token: 'first' }, cluster) });
    const { lines, store } = following;
    await until('failures', () => lines.some(({ message }) => message.startsWith('cannot follow')));
    await put('ca.crt', server.ca);
    await until('the first lists', () => store.isSynced, 15_000);
  });
});
