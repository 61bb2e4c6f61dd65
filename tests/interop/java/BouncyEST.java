import java.io.FileInputStream;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.security.spec.ECGenParameterSpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import org.bouncycastle.asn1.x500.X500Name;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.est.CSRRequestResponse;
import org.bouncycastle.est.ESTAuth;
import org.bouncycastle.est.ESTException;
import org.bouncycastle.est.ESTService;
import org.bouncycastle.est.EnrollmentResponse;
import org.bouncycastle.est.jcajce.JcaHttpAuthBuilder;
import org.bouncycastle.est.jcajce.JcaJceUtils;
import org.bouncycastle.est.jcajce.JsseDefaultHostnameAuthorizer;
import org.bouncycastle.est.jcajce.JsseESTServiceBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.pkcs.PKCS10CertificationRequest;
import org.bouncycastle.pkcs.jcajce.JcaPKCS10CertificationRequestBuilder;

/**
 * One conversation of Bouncy Castle's EST client with a server.
 *
 * Arguments: host:port, PEM of root and CAs, TLS version, kind of key, subject, user,
 * password, labels of the entrances for keys, Digest and approval. Prints one line a
 * finding, "name value"; DER as base64.
 */
public final class BouncyEST {
    private final String server;
    private final List<X509Certificate> authorities;
    private final String version;
    private final ESTAuth user;

    private BouncyEST(String server, String trust, String version, ESTAuth user)
            throws Exception {
        this.server = server;
        this.version = version;
        this.user = user;
        this.authorities = new ArrayList<>();
        try (FileInputStream in = new FileInputStream(trust)) {
            for (Certificate one : factory().generateCertificates(in)) {
                authorities.add((X509Certificate) one);
            }
        }
    }

    public static void main(String[] given) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        ESTAuth user = new JcaHttpAuthBuilder(given[5], given[6].toCharArray())
                .setNonceGenerator(new SecureRandom())
                .build();
        BouncyEST client = new BouncyEST(given[0], given[1], given[2], user);
        KeyPair key = client.makeKey(given[3]);
        client.readOpenDoors();
        X509Certificate first = client.enroll(key, given[3], given[4]);
        client.renew(key, first, given[3], given[4]);
        client.haveKeyMade(key, given[3], given[4] + "-made", given[7]);
        client.useDigest(key, given[3], given[4], given[8]);
        client.wait(key, given[3], given[4] + "-waiting", given[9]);
        client.beRefused(key, given[3], given[4]);
    }

    private void readOpenDoors() throws Exception {
        ESTService service = service("", null);
        Collection<X509CertificateHolder> found =
                service.getCACerts().getCertificateStore().getMatches(null);
        print("cacerts", Integer.toString(found.size()));
        CSRRequestResponse wishes = service.getCSRAttributes();
        print("csrattrs", wishes.getAttributesResponse().getEncoded());
    }

    private X509Certificate enroll(KeyPair key, String kind, String subject)
            throws Exception {
        EnrollmentResponse answer =
                service("", null).simpleEnroll(false, request(key, kind, subject), user);
        X509Certificate made = only(answer);
        print("enrolled", made.getEncoded());
        return made;
    }

    private void renew(KeyPair key, X509Certificate old, String kind, String subject)
            throws Exception {
        KeyPair next = makeKey(kind);
        EnrollmentResponse answer = service("", managers(key.getPrivate(), old))
                .simpleEnroll(true, request(next, kind, subject), null);
        print("renewed", only(answer).getEncoded());
    }

    private void haveKeyMade(KeyPair key, String kind, String subject, String label)
            throws Exception {
        EnrollmentResponse answer = service(label, null)
                .simpleEnrollWithServersideCreation(request(key, kind, subject), user);
        print("made-key", answer.getPrivateKeyInfo().getEncoded());
        print("made", only(answer).getEncoded());
    }

    private void useDigest(KeyPair key, String kind, String subject, String label)
            throws Exception {
        EnrollmentResponse answer = service(label, null)
                .simpleEnroll(false, request(key, kind, subject), user);
        print("digest", only(answer).getEncoded());
    }

    private void wait(KeyPair key, String kind, String subject, String label)
            throws Exception {
        EnrollmentResponse answer = service(label, null)
                .simpleEnroll(false, request(key, kind, subject), user);
        print("waiting", Boolean.toString(!answer.isCompleted()));
        print("not-before", Long.toString(answer.getNotBefore()));
    }

    private void beRefused(KeyPair key, String kind, String subject) throws Exception {
        try {
            service("", null).simpleEnroll(
                    true, request(key, kind, subject), user);
        } catch (ESTException refusal) {
            print("refused", Integer.toString(refusal.getStatusCode()));
        }
    }

    private ESTService service(String label, KeyManager[] managers) throws Exception {
        TrustAnchor root =
                new TrustAnchor(authorities.get(0), null);
        JsseESTServiceBuilder builder = new JsseESTServiceBuilder(server,
                JcaJceUtils.getCertPathTrustManager(Collections.singleton(root), null));
        builder.withHostNameAuthorizer(
                new JsseDefaultHostnameAuthorizer(Collections.emptySet()));
        builder.withTLSVersion(version).withTimeout(20000);
        if (!label.isEmpty()) {
            builder.withLabel(label);
        }
        if (managers != null) {
            builder.withKeyManagers(managers);
        }
        return builder.build();
    }

    private KeyManager[] managers(PrivateKey key, X509Certificate own) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        char[] none = "insecure".toCharArray();
        Certificate[] chain = {own, authorities.get(1)};
        store.setKeyEntry("own", key, none, chain);
        KeyManagerFactory managers = KeyManagerFactory.getInstance("PKIX");
        managers.init(store, none);
        return managers.getKeyManagers();
    }

    private KeyPair makeKey(String kind) throws Exception {
        if (kind.equals("rsa:2048")) {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
            generator.initialize(2048);
            return generator.generateKeyPair();
        }
        if (kind.equals("ed25519")) {
            return KeyPairGenerator.getInstance("Ed25519").generateKeyPair();
        }
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
        String curve = kind.equals("ec:P-384") ? "secp384r1" : "secp256r1";
        generator.initialize(new ECGenParameterSpec(curve));
        return generator.generateKeyPair();
    }

    private PKCS10CertificationRequest request(KeyPair key, String kind, String subject)
            throws Exception {
        String algorithm = "SHA256withECDSA";
        if (kind.equals("rsa:2048")) {
            algorithm = "SHA256withRSA";
        } else if (kind.equals("ed25519")) {
            algorithm = "Ed25519";
        } else if (kind.equals("ec:P-384")) {
            algorithm = "SHA384withECDSA";
        }
        return new JcaPKCS10CertificationRequestBuilder(
                new X500Name(subject), key.getPublic())
                .build(new JcaContentSignerBuilder(algorithm).build(key.getPrivate()));
    }

    private X509Certificate only(EnrollmentResponse answer) throws Exception {
        Collection<X509CertificateHolder> found = answer.getStore().getMatches(null);
        if (!answer.isCompleted() || found.size() != 1) {
            throw new IllegalStateException("not one certificate: " + found.size());
        }
        byte[] octets = found.iterator().next().getEncoded();
        return (X509Certificate) factory().generateCertificate(
                new java.io.ByteArrayInputStream(octets));
    }

    private static CertificateFactory factory() throws Exception {
        return CertificateFactory.getInstance("X.509");
    }

    private static void print(String name, byte[] octets) {
        print(name, Base64.getEncoder().encodeToString(octets));
    }

    private static void print(String name, String value) {
        System.out.println(name + " " + value);
    }
}
