import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { expect } from 'chai';
import { loadAccess } from '../../../lib/source/api/access.js';
import type { AccessSettings } from '../../../lib/source/api/choose-access.js';
import { certificates } from '../../support/api-server/certificates.js';
import { requires } from '../../support/requires.js';
import { tempDir } from '../manifests/temp-dir.js';

interface Parts {
  readonly cluster?: object;
  readonly user?: object;
  readonly over?: object;
}

function config(name: string, { cluster = {}, user = {}, over = {} }: Parts = {}): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    clusters: [{ name, cluster: { server: `https://${name}.example:6443`, ...cluster } }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    ...over,
  });
}

describe('the way to the API server', () => {
  const dir = tempDir();

  async function put(name: string, text: string): Promise<string> {
    await mkdir(dirname(dir(name)), { recursive: true });
    await writeFile(dir(name), text);
    return dir(name);
  }

  const settings = (over: Partial<AccessSettings>): AccessSettings => ({
    kubeconfig: undefined,
    master: undefined,
    env: {},
    serviceAccountDir: dir('account'),
    ...over,
  });

  async function faultsOf(over: Partial<AccessSettings>): Promise<string> {
    return loadAccess(settings(over)).then(
      () => '',
      (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
    );
  }

  const pod = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };

  async function serviceAccount(): Promise<void> {
    await put('account/token', 'from-the-pod\n');
    await put('account/ca.crt', (await certificates()).ca);
  }

  it('is the file of --kubeconfig before all others', async function () {
    requires(this, 'openssl');
    await serviceAccount();
    const kubeconfig = await put('own', config('own'));
    const access = await loadAccess(
      settings({ kubeconfig, env: { ...pod, KUBECONFIG: await put('env', config('env')) } }),
    );
    expect(access.server.href).to.equal('https://own.example:6443/');
  });

  it('is the service account inside of a pod, before KUBECONFIG', async function () {
    requires(this, 'openssl');
    await serviceAccount();
    const KUBECONFIG = await put('env', config('env'));
    const access = await loadAccess(settings({ env: { ...pod, KUBECONFIG } }));
    expect(access.server.href).to.equal('https://10.96.0.1/');
    expect(access.user.tokenFile).to.equal(dir('account/token'));
    const six = await loadAccess(settings({ env: { ...pod, KUBERNETES_SERVICE_HOST: 'fd00::1' } }));
    expect(six.server.host).to.equal('[fd00::1]');
  });

  it('is KUBECONFIG where nothing of a pod is mounted: the first file that names something wins', async () => {
    const one = await put('one', config('one', { over: { 'current-context': '', contexts: [] } }));
    const two = await put(
      'two',
      config('two', { over: { contexts: [{ name: 'two', context: { cluster: 'one', user: 'two' } }] } }),
    );
    const KUBECONFIG = [dir('missing'), one, two].join(':');
    const access = await loadAccess(settings({ env: { ...pod, KUBECONFIG } }));
    expect([access.server.hostname, access.user.name]).to.deep.equal(['one.example', 'two']);
  });

  it('takes the address of --master over that of a file', async () => {
    const kubeconfig = await put('own', config('own', { user: { token: 'x' } }));
    const access = await loadAccess(settings({ kubeconfig, master: 'https://192.0.2.9:6443/path' }));
    expect([access.server.href, access.user.token]).to.deep.equal(['https://192.0.2.9:6443/path', 'x']);
    expect((await loadAccess(settings({ master: '192.0.2.9:6443' }))).server.href).to.equal('https://192.0.2.9:6443/');
  });

  it('reads paths from the folder of the file that names them', async function () {
    requires(this, 'openssl');
    const { ca, client } = await certificates();
    await put('sub/ca.crt', ca);
    await put('sub/client.crt', client.cert);
    await put('sub/client.key', client.key);
    await put('sub/token', 't');
    const user = { 'client-certificate': 'client.crt', 'client-key': 'client.key', tokenFile: 'token' };
    const kubeconfig = await put('sub/config', config('own', { cluster: { 'certificate-authority': 'ca.crt' }, user }));
    const access = await loadAccess(settings({ kubeconfig }));
    expect(access.cluster.caFile).to.equal(dir('sub/ca.crt'));
    expect([access.user.certFile, access.user.keyFile, access.user.tokenFile]).to.deep.equal(
      ['client.crt', 'client.key', 'token'].map((name) => dir('sub', name)),
    );
  });

  it('never is ~/.kube/config: nobody named it', async () => {
    await put('.kube/config', config('home'));
    expect(await faultsOf({ env: { HOME: dir() } })).to.match(/^BAD_CONFIG: expected --manifests .* or an API server/);
  });

  const bad: readonly (readonly [string, string, RegExp])[] = [
    ['no YAML', 'kind: [', /config:1:8: /],
    ['another kind', '{"kind": "Pod"}', /config: expected a kubeconfig/],
    ['a list', '[]', /config: expected a kubeconfig|current-context/],
    ['nothing', '', /config: expected a kubeconfig/],
    ['no context of that name', config('a', { over: { 'current-context': 'b' } }), /"b": expected one of contexts/],
    ['no cluster of that name', config('a', { over: { clusters: [] } }), /"a": there is no cluster "a"/],
    ['no user of that name', config('a', { over: { users: [] } }), /"a": there is no user "a"/],
    [
      'a cluster without a server',
      config('a', { cluster: { server: '' } }),
      /clusters\[0\]\.cluster\.server is missing/,
    ],
    [
      'a server that is no address',
      config('a', { cluster: { server: 'ftp://x' } }),
      /server: "ftp:\/\/x": expected an address/,
    ],
    ['a CA file that is missing', config('a', { cluster: { 'certificate-authority': 'gone.crt' } }), /gone\.crt/],
    ['a CA that is none', config('a', { cluster: { 'certificate-authority-data': 'bm9uZQ==' } }), /config: /],
    ['a token file that is missing', config('a', { user: { tokenFile: 'gone' } }), /gone/],
    ['a proxy', config('a', { cluster: { 'proxy-url': 'http://p:1' } }), /proxy-url: expected none/],
    [
      'an auth provider of old',
      config('a', { user: { 'auth-provider': { name: 'gcp' } } }),
      /"gcp": Kubernetes removed it/,
    ],
    [
      'a secret for everyone to read',
      config('a', { cluster: { server: 'http://192.0.2.1' }, user: { token: 't' } }),
      /expected https, because credentials would be sent in clear text/,
    ],
    [
      'a plugin that needs a terminal',
      config('a', { user: { exec: { command: 'x', interactiveMode: 'Always' } } }),
      /Always/,
    ],
    ['aliases', 'kind: Config\na: &a [1]\nb: *a\n', /expected no YAML aliases/],
  ];
  for (const [title, text, says] of bad) {
    it(`says what is wrong with ${title} (C1)`, async () => {
      const kubeconfig = await put('config', text);
      expect(await faultsOf({ kubeconfig }))
        .to.match(/^BAD_CONFIG: /)
        .and.to.match(says);
    });
  }

  it('names every file of KUBECONFIG where none exists', async () => {
    const said = await faultsOf({ env: { KUBECONFIG: `${dir('a')}:${dir('b')}` } });
    expect(said).to.contain(dir('a')).and.to.contain(dir('b'));
  });
});
